"""A page of the docs in which a bench writes its table."""

END = "<!-- as far as here -->"


def begin(bench):
    """The line before a bench's table."""
    return f"<!-- written by `cargo bench --bench {bench} -- --write` -->"


def written(page, table, bench):
    """The text of a page with this table between the bench's mark and the end's."""
    before, found, rest = page.partition(begin(bench))
    _, ends, after = rest.partition(END)
    if not (found and ends):
        raise ValueError(f"there is no place for a table, between {begin(bench)} and {END}")
    return f"{before}{begin(bench)}\n{table}\n{END}{after}"
