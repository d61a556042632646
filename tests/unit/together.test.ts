import { strict as assert } from "node:assert";
import { setTimeout as delay } from "node:timers/promises";
import { allOrNone } from "../../platform/together";

describe("what the platform does beside each other", () => {
    it("is done when all of it is", async () => {
        const done: string[] = [];
        const after = (ms: number, name: string) => async () => {
            await delay(ms);
            done.push(name);
        };
        await allOrNone(undefined, [after(20, "slow"), after(0, "quick")]);
        assert.deepEqual(done, ["quick", "slow"]);
    });

    it("ends with the first failure, which is told when the others have ended", async () => {
        const ended: string[] = [];
        const untilEnded = async (signal: AbortSignal) => {
            await delay(60_000, undefined, { signal }).catch(() => undefined);
            await delay(20);
            ended.push(signal.aborted ? "told to" : "by itself");
            throw new Error("not the reason");
        };
        const failing = async () => {
            await delay(10);
            throw new Error("the reason");
        };
        await assert.rejects(allOrNone(undefined, [untilEnded, failing, untilEnded]), /^Error: the reason$/);
        assert.deepEqual(ended, ["told to", "told to"]);
    });

    it("ends when it is told to, and says who did", async () => {
        const interrupted = new AbortController();
        const waiting = async (signal: AbortSignal) => delay(60_000, undefined, { signal });
        const result = allOrNone(interrupted.signal, [waiting, waiting]);
        interrupted.abort(new Error("interrupted"));
        await assert.rejects(result, /^Error: interrupted$/);
    });
});
