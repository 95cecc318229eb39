/** For tsc only: asc gets TRACE from --use, see asconfig.json. Declared in a source file it would become an import. */
declare const TRACE: i32;
