"""dlib as face_recognition calls it: its embeddings are those of `face_recognition.face_encodings`.

That holds for photos of at most `pipeline.detectors.hog.UPSAMPLED_MAX_PIXELS`; see there.
"""
