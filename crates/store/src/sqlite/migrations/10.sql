-- The cut item whose text an open item continues, so that a continuation that is cut names it as well.
ALTER TABLE open_items ADD COLUMN continues TEXT;
