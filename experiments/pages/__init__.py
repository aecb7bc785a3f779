"""What people look at: the report of a run and the page of a paper, their pictures and style."""
