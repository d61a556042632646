import { PolicyPack } from "@pulumi/policy";

import { policies } from "./policies";

/** `pulumi preview --policy-pack policy` starts this in a process of its own. */
new PolicyPack("ke-1-build", { policies: [...policies] });
