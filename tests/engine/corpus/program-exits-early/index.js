"use strict";
// A program that ends before it has said that it is done has nothing deleted.
const { resource, step } = require("./resources");
if (step === 2) {
    process.exit(0);
}
resource("a");
