import { startBuild } from "./build";
import { byId } from "./element";
import { handleKeys } from "./keys";
import { startList } from "./list";

// The one script of all pages: what there is on the page says which it is.
const pane = byId("log", HTMLElement);
if (pane) {
    startBuild(pane);
} else if (document.querySelector("[data-refresh=list]")) {
    startList();
} else {
    handleKeys({});
}
