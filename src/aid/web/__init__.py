"""The studio: a page in the browser around one `Predictor`, or two to compare.

`aid web` opens it. `studio`, `queue`, `requests`, `uploads` and `limits` know no Gradio: what is
asked, what is refused, and how it is drawn. `page`, `form`, `tabs` and `interface` are what
visitors see. `server` and `middleware` serve it safely. docs/studio.md is the user's view.
"""
