"""What artists give to one another: a storyboard in one file, a cast in a folder."""
