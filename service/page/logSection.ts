import { isFinal } from "../build";
import type { BuildView } from "./buildPage";
import type { Markup } from "./html";
import { html } from "./html";

/**
 * The log: a pane that the script fills (service/page/browser/), and for a browser without scripts the last lines as text.
 * The lines are no live region: they would drown what a screen reader has to say. States are told, in `announcement`.
 */
export function logSection({ build, of, tail }: BuildView): Markup {
    const id = encodeURIComponent(build.id);
    const address = `/v1/builds/${id}/log?of=${of}`;
    const whole = `/builds/${id}/log?of=${of}`;
    const choice = (name: "build" | "launcher", text: string) =>
        html`<a href="/builds/${id}?log=${name}" ${of === name && html` aria-current="page"`}>${text}</a>`;
    return html`<section aria-labelledby="log-title" class="log-section">
        <div class="log-head">
            <h2 id="log-title">Log</h2>
            <nav aria-label="Which log">${choice("build", "Build")} ${choice("launcher", "Launcher")}</nav>
            <a href="${whole}" class="all">As plain text</a>
        </div>
        <div class="log-tools scripted">
            <form id="search" role="search" aria-label="Log">
                <label class="unseen" for="query">Search the log</label>
                <input
                    type="search"
                    id="query"
                    placeholder="Search"
                    autocomplete="off"
                    spellcheck="false"
                    maxlength="200"
                    aria-describedby="found"
                />
                <button type="button" id="previous" aria-label="Previous match">↑</button>
                <button type="submit" id="next" aria-label="Next match">↓</button>
                <span id="found" role="status"></span>
            </form>
            <span class="grow"></span>
            <span id="lines" class="quiet-text"></span>
            <button type="button" id="follow" aria-pressed="${isFinal(build.state) ? "false" : "true"}">Follow</button>
        </div>
        <div
            id="log"
            class="log scripted"
            role="region"
            aria-label="Lines of the log"
            tabindex="0"
            data-address="${address}"
        ></div>
        <noscript>
            ${tail === "" ? html`<p class="empty">There is no log yet.</p>` : html`<pre class="log tail" tabindex="0" aria-label="The last lines of the log">${tail}</pre>`}
            <p class="note">These are its last lines. <a href="${whole}">The whole log</a> is plain text.</p>
        </noscript>
    </section>`;
}
