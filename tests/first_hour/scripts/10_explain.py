"""Why does this group run in the precision that it runs in?"""

import precsearch

plan = precsearch.load_plan("pinned.plan.json")
asked = {group.key: group.precision for group in plan.recipe.groups}
for group in plan.evidence.groups:
    print(f"{group.key}: asked {asked[group.key]}, ran {group.achieved}: {group.reason}")
