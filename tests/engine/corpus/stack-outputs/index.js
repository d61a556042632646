"use strict";
// Outputs of any shape are kept, and replaced as a whole by the next run.
const { resource, step } = require("./resources");
const a = resource("a");
module.exports =
    step === 1
        ? { text: a.stdout, list: [1, "two", { three: true }], nothing: undefined, object: { a: a.stdout } }
        : { text: "changed" };
