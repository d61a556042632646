"use strict";
// An output of `additionalSecretOutputs` is kept encrypted.
const { resource } = require("./resources");
const a = resource("a", { value: "not-for-everyone" }, { additionalSecretOutputs: ["stdout"] });
exports.out = a.stdout;
