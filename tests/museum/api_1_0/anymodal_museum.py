"""A plugin as it was written for API 1.0. Never edit it: it must work for as long as the API is 1.x."""

from anymodal import ImageModality, Labeler, hookimpl


class Museum(ImageModality):
    """Heights above the sea, meters."""

    api = "1.0"
    settings = (*ImageModality.settings, "offset")
    channels, low, high, offset = 1, -500.0, 9000.0, 0.0

    def preprocess(self, value):
        return super().preprocess(value - self.offset)

    def postprocess(self, tensor):
        return super().postprocess(tensor) + self.offset

    def score(self, predictions, truths):
        return {"meters": super().score(predictions, truths)["mae"]}


class MuseumLabeler(Labeler):
    modality, sources = "museum", ("rgb",)

    def label(self, samples):
        return [sample["rgb"].mean(2) for sample in samples]


@hookimpl
def anymodal_labelers():
    return {"museum": MuseumLabeler}
