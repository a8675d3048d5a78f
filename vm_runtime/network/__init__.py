"""What a pod's network becomes for its guest: plans, rules and answers, all of them pure."""
