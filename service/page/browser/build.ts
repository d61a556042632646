import { LogLines } from "../log/logLines";
import { byId } from "./element";
import { handleKeys } from "./keys";
import { LogSource } from "./logSource";
import { LogView } from "./logView";
import { refresh } from "./refresh";
import { SearchBox } from "./searchBox";
import { watchState } from "./state";

/** The page of one build: its log, and what changes about it. */
export function startBuild(pane: HTMLElement): void {
    let lines = new LogLines();
    const view = new LogView(pane, lines);
    const search = new SearchBox(view, lines);
    const button = byId("follow", HTMLButtonElement);
    const count = byId("lines", HTMLElement);
    const hint = document.createElement("div");
    hint.className = "hint";

    let target = lineOf(location.hash);
    const goToTarget = () => {
        if (target !== undefined && target < lines.length) {
            view.goTo(target);
            target = undefined;
        }
    };
    const tell = (text: string | undefined) => {
        hint.textContent = text ?? "";
        if (text === undefined) {
            hint.remove();
        } else {
            pane.after(hint);
        }
    };
    const source = new LogSource(pane.dataset["address"] ?? "", isFinal, {
        text: (text) => {
            const before = lines.length;
            lines.append(text);
            view.changed();
            search.changed(Math.max(0, before - 1));
            if (count) {
                count.textContent = `${lines.length.toLocaleString("en")} ${lines.length === 1 ? "line" : "lines"}`;
            }
            goToTarget();
            if (lines.isFull) {
                tell("The log is longer than what is shown here: all of it is there as plain text.");
            }
        },
        begin: () => {
            lines = new LogLines();
            view.begin(lines);
            search.reset(lines);
        },
        problem: (text) => {
            if (!lines.isFull) {
                tell(text);
            }
        },
        end: () => {
            view.follow(false);
            if (target !== undefined && lines.length > 0) {
                view.goTo(lines.length - 1);
            }
            if (lines.length === 0) {
                tell("There is nothing in the log.");
            }
        },
    });

    view.onFollow = (isOn) => button?.setAttribute("aria-pressed", String(isOn));
    view.follow(!isFinal() && target === undefined);
    const toggle = () => view.follow(!view.follows);
    button?.addEventListener("click", toggle);
    window.addEventListener("hashchange", () => {
        target = lineOf(location.hash);
        goToTarget();
    });
    const walk = (by: number) => {
        view.goTo(view.current === undefined ? view.firstShown : view.current + by);
        remember(view.current);
        return undefined;
    };
    handleKeys({
        "/": () => search.focus(),
        f: toggle,
        j: () => walk(1),
        k: () => walk(-1),
        n: () => search.step(1),
        p: () => search.step(-1),
        Home: () => view.toBegin(),
        End: () => view.toEnd(),
    });
    watchState(() => {
        source.look();
        void refresh().catch(() => undefined);
    });
    void source.run();
}

/** What the server last said of the build. */
function isFinal(): boolean {
    const state = document.querySelector<HTMLElement>("[data-refresh=head]")?.dataset["state"] ?? "";
    return !["queued", "running"].includes(state);
}

/** `#L123` is the line 122, from 0. */
function lineOf(hash: string): number | undefined {
    const [, digits] = /^#L([1-9]\d{0,8})$/.exec(hash) ?? [];
    return digits === undefined ? undefined : Number(digits) - 1;
}

let timer = 0;

/** Puts the line into the address, when the keys have come to rest: browsers allow few changes of it in a time. */
function remember(line: number | undefined): void {
    clearTimeout(timer);
    if (line !== undefined) {
        timer = window.setTimeout(() => history.replaceState(null, "", `#L${line + 1}`), 300);
    }
}
