"""One model on one task: texts → vectors, once → mteb's scores in every form."""
