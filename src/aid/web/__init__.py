"""The studio: a page in the browser around one `Predictor`, or two to compare.

`aid web` opens it. `studio` draws and knows no Gradio; `page` and the tabs put it on the screen;
`server` serves it safely. docs/studio.md is the user's view.
"""
