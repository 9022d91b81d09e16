"""Questions → vectors, without HTTP and without Ray.

``checks`` holds a question against what is served, ``admission`` lets it in or not, ``queue`` puts its texts (``work``) in a fair
order, ``batches`` picks those that go through the model together, ``worker`` is the thread that does it, ``model`` the student.
"""
