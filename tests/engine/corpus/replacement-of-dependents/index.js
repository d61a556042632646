"use strict";
// Dependents that would be replaced too are deleted before a resource that is deleted before its replacement.
const { resource, step } = require("./resources");
const a = resource("a", { key: step, value: `a${step}` }, { deleteBeforeReplace: true });
const b = resource("b", { key: a.stdout });
resource("c", { value: b.stdout });
