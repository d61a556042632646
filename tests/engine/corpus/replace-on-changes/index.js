"use strict";
// A change of a property of `replaceOnChanges` is a replacement.
const { resource, step } = require("./resources");
resource("a", { environment: { X: `${step}` } }, { replaceOnChanges: ["environment"] });
