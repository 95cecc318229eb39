/** The seed of a test file's random choices: TWINPLANE_SEED, or a fixed one. Printed, so that a failure can be rerun. */
export declare function testSeed(name: string): number;
