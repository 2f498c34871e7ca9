"""The web application: a page that colorizes photographs, and the Turing test.

- `server` speaks HTTP: which requests it takes from whom, how many, how large and for how long. Everything it serves to a GET is in
  memory already, so that a GET starts nothing.
- `photos` and `turing` are the two pages. Their JavaScript and styles are in `static/`; nothing is loaded from another host.
- `studio` runs the process that holds the networks, `decoding` the short-lived ones that open and write the visitors' files.

The server imports neither Keras nor data: it starts in a moment, and the networks load while the page is there already.
"""
