"use strict";
// A program may be an asynchronous function, whose result are the outputs.
const { resource } = require("./resources");
module.exports = async () => {
    await new Promise((resolve) => setTimeout(resolve, 50));
    const a = resource("a");
    return { text: a.stdout };
};
