"use strict";
// A protected resource is not deleted, neither by `destroy` nor by leaving it out.
const { resource, step } = require("./resources");
if (step !== 2) {
    resource("a", {}, { protect: step === 1 });
}
