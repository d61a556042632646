"use strict";
// A rejection that nobody handles fails the update.
const { resource, step } = require("./resources");
resource("a");
if (step === 2) {
    void Promise.reject(new Error("nobody cares"));
}
