import type { Markup } from "./html";
import { html } from "./html";

/** Who looks at the page, as far as the page shows it. */
export interface Viewer {
    readonly name: string;
    readonly mayWrite: boolean;
    /** Goes with each form of this session. */
    readonly csrf: string;
}

/** Addresses of what the browser needs besides the page, each with the hash of its content. */
export interface AssetAddresses {
    readonly style: string;
    /** For a browser without scripts. */
    readonly plainStyle: string;
    readonly script: string;
    readonly icon: string;
}

export interface DocumentParts {
    readonly title: string;
    readonly assets: AssetAddresses;
    readonly viewer?: Viewer;
    readonly main: Markup;
    /** What the keys do here, besides those of every page. */
    readonly keys?: readonly (readonly [string, string])[];
}

/** A whole page: landmarks, a link to skip to the content, the keys' help. */
export function documentOf({ title, assets, viewer, main, keys = [] }: DocumentParts): Markup {
    return html`<!doctype html>
        <html lang="en">
            <head>
                <meta charset="utf-8" />
                <title>${title} · ke1</title>
                <meta name="viewport" content="width=device-width, initial-scale=1" />
                <meta name="color-scheme" content="light dark" />
                <link rel="icon" href="${assets.icon}" type="image/svg+xml" />
                <link rel="stylesheet" href="${assets.style}" />
                <noscript><link rel="stylesheet" href="${assets.plainStyle}" /></noscript>
                <script type="module" src="${assets.script}"></script>
            </head>
            <body>
                <a class="skip" href="#main">Skip to the content</a>
                <header class="top">
                    <a class="brand" href="/builds">ke1</a>
                    ${viewer && account(viewer)}
                </header>
                <main id="main" tabindex="-1">${main}</main>
                <div id="announcement" class="unseen" role="status" aria-live="polite"></div>
                ${viewer && help(keys)}
            </body>
        </html> `;
}

function account(viewer: Viewer): Markup {
    return html`<div class="account">
        <button type="button" id="show-help" class="quiet scripted" aria-haspopup="dialog">Keys <kbd>?</kbd></button>
        <span>${viewer.name}${!viewer.mayWrite && " (may read)"}</span>
        <form method="post" action="/logout">${csrfField(viewer)}<button class="quiet">Log out</button></form>
    </div>`;
}

/** Without it, a form of another page could act in this one's name. */
export function csrfField(viewer: Viewer): Markup {
    return html`<input type="hidden" name="csrf" value="${viewer.csrf}" />`;
}

// Keys without a modifier can be turned off, as WCAG 2.1.4 asks.
function help(keys: readonly (readonly [string, string])[]): Markup {
    const all = [...keys, ["?", "this help"], ["Esc", "out of a field, or of this help"]] as const;
    return html`<dialog id="help" aria-labelledby="help-title">
        <h2 id="help-title">Keys</h2>
        <dl class="keys">
            ${all.map(
                ([key, what]) =>
                    html`<div>
                        <dt><kbd>${key}</kbd></dt>
                        <dd>${what}</dd>
                    </div>`,
            )}
        </dl>
        <p>
            <label><input type="checkbox" id="keys-on" checked /> Keys are on</label>
        </p>
        <form method="dialog"><button>Close</button></form>
    </dialog>`;
}
