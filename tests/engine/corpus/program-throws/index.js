"use strict";
// An error thrown by the program fails the update; nothing is deleted on the strength of it.
const { resource, step } = require("./resources");
resource("a");
if (step === 2) {
    throw new Error("the program is at fault");
}
resource("b");
