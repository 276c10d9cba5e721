"""The cut as the files that editing programs read: OTIO, CMX 3600 EDL and FCPXML."""
