"use strict";
// A resource that was deleted but not created again is created by the next run.
const { resource, step } = require("./resources");
const create = step === 2 ? { create: "exit 1" } : {};
resource("a", { key: step === 1 ? 1 : 2, ...create }, { deleteBeforeReplace: true });
