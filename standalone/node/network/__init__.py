"""The network of the pods that have one of their own: a bridge of the yard's, and a namespace for each."""
