# How do two runs differ?
precsearch report classifier.plan.json pinned.plan.json
