"""The tracer: what runs beside the traced program, with the program's own Python.

Standard library only, any CPython since 3.6. ``cwm_env.tracing.tracer`` packs these modules into one file.
Nothing here may run a line of the traced program's code except to run the program itself, and every function of the
standard library is bound when it is imported: the program may replace ``time.time`` or ``os.write`` as it likes.
"""
