"""What was drawn: artists by their label, and a rendering that raises what matplotlib puts off."""

import io


def render(figure):
    """Draws for good: errors in ticks and layouts show only here."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=40)
    assert buffer.getvalue().startswith(b"\x89PNG")


def survives(figure):
    """Draws odd values, whose layout is no matter."""
    figure.set_layout_engine("none")
    figure.draw_without_rendering()


def labelled(axes, label):
    """The one line with this label."""
    (line,) = [line for line in axes.lines if line.get_label() == label]
    return line


def labels(axes):
    """What the legend names."""
    return [text.get_text() for text in axes.get_legend().get_texts()]


def data(axes, label):
    """A line's points, x and y."""
    return labelled(axes, label).get_data()
