"use strict";
// A creation that takes longer than its timeout fails.
const { resource, step } = require("./resources");
resource("a", { create: `sleep ${step === 1 ? 20 : 0}` }, { customTimeouts: { create: "500ms" } });
