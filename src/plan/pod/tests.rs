//! Scripts of a pod's life, with the whole trace that each must give.
