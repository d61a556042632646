"use strict";
// A resource is created, updated when its inputs change, left alone when they do not, and deleted when it is gone from the program.
const { resource, step } = require("./resources");
if (step < 3) {
    resource("a", { value: `v${step}` });
}
resource("b");
