from anymodal.testing import conformance

test_waveform = conformance("waveform")
test_spectrogram = conformance("spectrogram")
