"""Charts as SVG: text stays text, colours come from the page's style sheet, and a chart is drawn at the width it is shown at."""
