/** The seed of a test file's random choices: TWINPLANE_SEED, or a fixed one. Printed, so that a failure can be rerun. */
export function testSeed(name) {
    const given = process.env.TWINPLANE_SEED;
    const seed = given === undefined || given === "" ? 20 : Number(given);
    if (!Number.isInteger(seed))
        throw new Error(`TWINPLANE_SEED=${given} is not a whole number`);
    console.log(`${name}: TWINPLANE_SEED=${seed}`);
    return seed;
}
//# sourceMappingURL=seed.js.map