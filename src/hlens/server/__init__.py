"""Server: the OpenAI protocol, with the risk of every token and answer beside it.

Problem: a risk is worth something where answers are given, to clients that know nothing of hlens,
many at a time, some of which send nonsense, go away or ask for too much.

Idea: one thread owns the model and does stretches of work on whatever has been asked
(`hlens.monitor.requests`); everything else is an ordinary web application beside it. What hlens
knows travels in a field of its own, ``hlens``, which stock clients leave alone. What an operator
allows is one value, `Offer`; a request chooses within it.

By file:

    offer        what the operator allows: detectors, doses, policies, limits
    bodies       what a client asks, checked
    desk         the thread of the model, and who waits for it
    text         tokens to text as they come, stop words, thoughts
    writing      one answer: its tokens, its policy, its fate
    replies      answers and errors in the protocol's form
    risk         conversations that are written already
    counters     what Prometheus reads, and the log
    app          routes
    page         a page to try it

Worked example, of a client that is none of ours::

    client = openai.OpenAI(base_url="http://127.0.0.1:8000/v1", api_key="...")
    reply = client.chat.completions.create(model="smollm2-135m", messages=[...])
    reply.choices[0].hlens["risk"]      # 0.31
"""

from hlens.kinds import explain_public
from hlens.server.app import make_app as make_app
from hlens.server.app import serve as serve
from hlens.server.offer import Limits as Limits
from hlens.server.offer import Offer as Offer

explain_public(globals())
