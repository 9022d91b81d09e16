"""Texts on which the ranges of an 8-bit model's activations are measured.

Fixed, because every worker must arrive at the same model; short and long, plain and odd, in several languages and scripts, because
a range that no text showed is cut off.
"""

from __future__ import annotations

_SENTENCES = (
    "The committee will publish its findings on the new railway bridge before the end of March.",
    "Mix the flour with two eggs, add a pinch of salt and let the dough rest for half an hour in a cool place.",
    "In mice, deleting the gene lowered fasting glucose by 18% (p < 0.01), but insulin secretion stayed the same.",
    "How do I undo the last commit without losing the changes in my working directory?",
    "def mean(values): return sum(values) / len(values)  # raises ZeroDivisionError for an empty list",
    "The quarterly report shows revenue of $4.2 billion, up from $3.9 billion a year earlier, while costs fell slightly.",
    "She walked along the shore until the lights of the harbour were only a faint line behind her.",
    "Under the contract, the tenant must give written notice at least sixty days before leaving the apartment.",
    "A triangle whose sides measure three, four and five is right-angled, as Pythagoras would have told you.",
    "Der Zug nach Hamburg fährt heute wegen Bauarbeiten zwanzig Minuten später von Gleis sieben ab.",
    "Le musée est fermé le mardi, mais la bibliothèque reste ouverte jusqu'à dix-neuf heures.",
    "El gobierno anunció nuevas medidas para reducir el consumo de agua durante el verano.",
    "昨日は雨が降っていたので、家で本を読んで過ごしました。",
    "这家餐厅的面条很好吃,价格也不贵,我们常常去。",
    "Вчера вечером мы долго спорили о том, какой маршрут через горы короче.",
    "هل يمكنني تغيير موعد الرحلة بعد شراء التذكرة؟",
    "The defendant's appeal was dismissed; the court held that the evidence had been obtained lawfully.",
    "Photosynthesis turns light, water and carbon dioxide into sugar and oxygen inside the chloroplasts of a leaf.",
    "Terrible service!!! We waited 90 minutes, the soup was cold and nobody even said sorry :(",
    "error: cannot find symbol: variable totalCount, location: class com.example.shop.OrderService (OrderService.java:214)",
    "Scientists have found a planet about the size of Earth that circles a red dwarf every eleven days.",
    "The midfielder scored twice in the second half to give the visitors a deserved victory away from home.",
    "My card was charged twice for the same purchase; when will I get the money back?",
    "Interest rates were left unchanged on Thursday, as most economists had expected.",
)
_QUERIES = (
    "weather tomorrow",
    "best way to remove red wine from carpet",
    "what is the capital of Burkina Faso?",
    "python",
    "symptoms of vitamin B12 deficiency in adults",
    "cheap flights LIS to JFK 12/24",
    "?",
    "who wrote the opera about a barber from Seville",
)


def _passages() -> tuple[str, ...]:
    """Every sentence in turn begins a longer text of up to eleven of them."""
    count = len(_SENTENCES)
    return tuple(" ".join(_SENTENCES[(start + 5 * step) % count] for step in range(2 + start % 10)) for start in range(count))


CALIBRATION_TEXTS: tuple[str, ...] = (*_QUERIES, *_SENTENCES, *_passages())
