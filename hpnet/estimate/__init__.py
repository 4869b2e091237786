"""Person crops -> joints and tapped maps: networks, crops, taps, decoding, and the work over clips."""
