/** What a command cannot go on from, in the user's words; exit code 2. */
export class UsageError extends Error {}
