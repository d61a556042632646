"use strict";
// With `deleteBeforeReplace`, the old resource is deleted first.
const { resource, step } = require("./resources");
resource("a", { key: step }, { deleteBeforeReplace: true });
