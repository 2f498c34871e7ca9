"""The two pages for people, as widgets for a notebook and for Voilà: your own photographs, and the Turing test.

`photo` and `turing` answer what their `.js` files ask, `serve` makes web pages of the notebooks. The widgets carry everything that
a browser needs; nothing is loaded from another host.
"""
