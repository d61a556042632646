"use strict";
// A dependent that is not changed by a replacement stays.
const { resource, step } = require("./resources");
const a = resource("a", { key: step }, { deleteBeforeReplace: true });
resource("b", {}, { dependsOn: [a] });
