"""The director's desk: shots edited and arranged, their results compared and chosen."""
