"""Storyboard panels and animatics, drawn and moved by rule."""
