"""The page: the form at the left, the tabs at the right, and their look."""

from html import escape
from pathlib import Path

import gradio as gr

from aid.web.errors import explain_malformed_calls
from aid.web.form import build_form
from aid.web.interface import build_interface
from aid.web.middleware import KEEP_FOR
from aid.web.studio import Studio
from aid.web.tabs import build_compare_tab, build_predict_tab

STYLE = Path(__file__).with_name("studio.css")
CLEAN_EVERY = 300
"""Seconds: how often, and how old, uploads and results are deleted."""


def theme() -> gr.themes.Base:
    """System fonts, because the page loads nothing from other servers; a calm teal."""
    fonts = ["ui-sans-serif", "system-ui", "sans-serif"]
    return gr.themes.Soft(
        primary_hue="teal", neutral_hue="slate", font=fonts, font_mono=["ui-monospace", "monospace"]
    ).set(
        # White on teal-700: the theme's own teal-500 is too pale to read.
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_800",
        button_primary_text_color="white",
        # The theme's labels and hints are too pale as well.
        block_label_text_color="*neutral_700",
        block_label_text_color_dark="*neutral_200",
        block_label_background_fill="*neutral_100",
        block_label_background_fill_dark="*neutral_800",
        block_title_text_color="*neutral_700",
        block_title_text_color_dark="*neutral_200",
        block_title_background_fill="none",
        block_title_padding="0",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        input_placeholder_color="*neutral_500",
        input_border_color="*neutral_300",
        input_border_color_dark="*neutral_600",
        input_border_width="1px",
        link_text_color="*primary_700",
        link_text_color_hover="*primary_700",
        link_text_color_visited="*primary_700",
        link_text_color_dark="*primary_300",
        link_text_color_hover_dark="*primary_300",
        link_text_color_visited_dark="*primary_300",
        checkbox_label_background_fill_selected="*primary_700",
        checkbox_label_background_fill_selected_dark="*primary_700",
        checkbox_label_text_color_selected="white",
        checkbox_border_color="*neutral_500",
        checkbox_border_color_dark="*neutral_400",
        checkbox_border_width="1px",
    )


def build_page(studio: Studio, folder: Path) -> gr.Blocks:
    """The whole page.

    Args:
        studio: draws.
        folder: Gradio's own, for files that visitors may load.
    """
    results = folder / "results"
    with gr.Blocks(
        title="AID studio", analytics_enabled=False, delete_cache=(CLEAN_EVERY, int(KEEP_FOR))
    ) as page:
        gr.HTML(_heading(studio), elem_id="heading")
        with gr.Row(elem_id="desk"):
            with gr.Column(scale=5, min_width=320, elem_id="form"):
                form = build_form(studio, folder / "examples")
            with gr.Column(scale=7, min_width=320, elem_id="results"), gr.Tabs():
                with gr.Tab("Predict"):
                    build_predict_tab(studio, form, results)
                with gr.Tab("Compare"):
                    build_compare_tab(studio, form, results)
        build_interface(studio, results)
    explain_malformed_calls(page)
    return page


def _heading(studio: Studio) -> str:
    predictor = studio.first.predictor
    facts = (
        f"{studio.first.name}: {predictor.denoiser.config.num_frames} frames of "
        f"{predictor.width}x{predictor.height}, {predictor.fps:g} a second"
    )
    return (
        "<header class='aid-heading'><h1>AID studio</h1>"
        "<p>One frame and one instruction become the video of what happens next.</p>"
        f"<p class='aid-note'>{escape(facts)}</p></header>"
    )
